"""The agent's process: it follows its node's jobs and keeps one task per open job."""
