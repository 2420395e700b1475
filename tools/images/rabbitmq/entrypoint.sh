#!/bin/sh
# Configures the one node, then becomes it.
set -eu

cat >/tmp/rabbitmq.conf <<CONFIG
listeners.tcp.1 = 0.0.0.0:5672
loopback_users = none
default_user = sluice
default_pass = $(cat /secret/password)
disk_free_limit.absolute = 1MB
log.console = true
log.console.level = warning
CONFIG
echo '[].' >/tmp/plugins
export HOME=/tmp RABBITMQ_NODENAME=sluice@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_CONFIG_FILE=/tmp/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins RABBITMQ_CONF_ENV_FILE=/tmp/none \
    RABBITMQ_MNESIA_BASE=/data RABBITMQ_LOG_BASE=/tmp/log RABBITMQ_LOGS=-

exec rabbitmq-server
