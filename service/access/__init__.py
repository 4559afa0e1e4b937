"""Who may call, and when: API keys and office hours."""
