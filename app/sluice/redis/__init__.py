"""What pods share by Redis: rate limits, and answers of expensive reads for some seconds. Imported only with REDIS_URL.

Redis away makes things slower or limits local, never wrong: nothing is kept there that is not also elsewhere.
"""
