-- The same events as single.lua's, as VictoriaLogs takes them.
local count = 0
local prefix
function init()
  math.randomseed(os.time() + math.floor(os.clock() * 1e6))
  prefix = string.format("%08x%08x", math.random(0, 2147483647), math.random(0, 2147483647))
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  local body = string.format(
    '{"event_id":"%s-%d","timestamp":"%s","event_type":"behavioral","event_name":"habit_completed",' ..
    '"properties":{"habit_id":"12","streak":5,"tags":{"provider":"nfc_notifier"},"note":"nnnnnnnnnnnnnnnnnnnnnnnn"},' ..
    '"device_info":{"platform":"ios","model":"iPhone 14"},"user_id":"user-1","session_id":"session-1",' ..
    '"app_version":"1.0.0","sequence_number":%d}', prefix, count, os.date("!%Y-%m-%dT%H:%M:%SZ"), count)
  return wrk.format(nil, "/insert/jsonline?_stream_fields=event_type&_msg_field=event_name&_time_field=timestamp", nil, body)
end
