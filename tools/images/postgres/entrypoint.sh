#!/bin/sh
# Makes the database when the volume is empty, then becomes the server.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --pwfile=/secret/password --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    printf 'host all all %s scram-sha-256\n' 0.0.0.0/0 ::/0 >>"$PGDATA.new/pg_hba.conf"
    mv "$PGDATA.new" "$PGDATA"
fi

ssl=off
if [ -s /tls/tls.crt ]; then
    # A copy, for the server refuses a key that others than its owner can read, and a mounted Secret may be such a one.
    install --mode=0600 /tls/tls.crt "$PGDATA/server.crt"
    install --mode=0600 /tls/tls.key "$PGDATA/server.key"
    ssl=on
fi

exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c ssl="$ssl" "$@"
