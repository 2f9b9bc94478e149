"""What happens to sound between the model and the wire: joining, resampling, encoding. No torch here."""
