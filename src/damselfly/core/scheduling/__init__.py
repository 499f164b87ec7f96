"""The SuperNode's mind: who gets which parents, which seed block goes to whom."""
