"""What people see: sentences, cards, buttons and forms."""
