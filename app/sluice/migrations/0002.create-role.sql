-- Nothing any more: post-apply.sql makes the service's role and gives it its rights.
-- depends: 0001.create-events

SELECT;
