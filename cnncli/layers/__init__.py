"""What a layer is: its parameters (declared once), tensors, shape rule and kernels."""
