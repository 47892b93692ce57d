"""What one can ask of Perdure, once, so that the command line and every interface to come cannot differ."""
