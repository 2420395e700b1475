"""The InfluxDB store (STORAGE_TYPE=influxdb, extra `influxdb`): one point an event, in a series of its own."""
