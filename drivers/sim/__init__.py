"""drivers/sim"""
