"""Queue mode: a broker between the service and its store. Imported only when QUEUE_URL is set (extra `queue`).

`sink` publishes what the service takes in, `worker` stores it, `dead_letters` has what could not be stored. `messages` is the
format between them; `link` is what they need of a broker, which `broker` (RabbitMQ) and `sqs` implement.
"""

# Seed 004's name. What cannot be stored waits in the other, with its reason.
EVENTS, DEAD_LETTERS = "logs", "logs.dead"
