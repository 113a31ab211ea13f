"""What every app is made of: command line, training that resumes, files that are whole."""
