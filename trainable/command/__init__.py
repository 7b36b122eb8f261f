"""What all commands share: flags, help, errors, JSON, completion."""
