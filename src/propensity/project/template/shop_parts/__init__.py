"""Parts of this shop's own. Each has a YAML of the same name under conf/."""
