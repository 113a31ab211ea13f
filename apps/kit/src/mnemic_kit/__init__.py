"""What all apps share: command line, training that resumes, files that are never half written."""
