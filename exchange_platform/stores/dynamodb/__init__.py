"""What is kept in DynamoDB: the profile view and confirmation tokens."""
