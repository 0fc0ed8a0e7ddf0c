"""What runs where: one Definitions a deployment."""
