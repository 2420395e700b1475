"""Queue mode: a broker between the service and its store. Imported only when QUEUE_URL is set (extra `queue`).

`sink` publishes what the service takes in, `worker` stores it, `dead_letters` has what could not be stored. `messages` is the
format between them; `link` is what they need of a broker, which `broker` (RabbitMQ) and `sqs` implement.
"""

# Seed 004's name. What cannot be stored waits in the other, with its reason.
EVENTS, DEAD_LETTERS = "logs", "logs.dead"
# What to do about each reason of QueueUnavailable.
FIXES = {
    "queue_unreachable": "start the broker, or correct QUEUE_URL; is a firewall or NetworkPolicy between?",
    "queue_refused": "correct user, password and vhost in QUEUE_URL, and give the user the rights that docs/queue.md lists;"
    " no other connection may hold the queue as exclusive; the broker's log says more",
    "queue_not_durable": "delete the queue logs or logs.dead that is not durable, or goes with its last consumer"
    " (rabbitmqctl delete_queue); Sluice makes another",
    "queue_blocked": "free some of the broker's disk or memory",
    "queue_full": "run more workers, or raise the bound of the queue logs",
    "queue_missing": "find out who deletes the queue logs; it is made again at once",
    "queue_timeout": "look at the broker's load and disk; it confirms nothing within 5 s",
}
