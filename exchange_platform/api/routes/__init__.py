"""The routes of applications and of pages that ask for data: one module a subject."""
