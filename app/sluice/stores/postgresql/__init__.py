"""The PostgreSQL store: the only package that speaks to psycopg and yoyo."""
