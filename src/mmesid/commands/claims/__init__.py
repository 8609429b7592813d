"""`mmesid claims` and `mmesid report`: which of the paper's claims hold here, and the tables of the paper run."""
