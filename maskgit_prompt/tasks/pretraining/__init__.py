"""What a backbone is trained with from scratch: losses, players and pictures of its parts."""
