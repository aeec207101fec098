"""Where the blocks of a command are computed: in this process, or by the workers of a Ray cluster."""
