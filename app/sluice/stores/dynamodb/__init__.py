"""The DynamoDB store (STORAGE_TYPE=dynamodb, extra `dynamodb`): one item an event, known by its id."""
