"""What people and registries ask of a SuperNode by HTTP: preheats, webhooks, Harbor's APIs."""
