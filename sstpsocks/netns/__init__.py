"""A network namespace whose only way out is an Outlet: for programs that know no proxy (Linux)."""
