"""`dfget --recursive` and `--from-file`: many files as one."""
