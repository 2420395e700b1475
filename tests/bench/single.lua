-- One event a request, each with an id of its own; the key comes from the environment.
local count = 0
local prefix
function init()
  math.randomseed(os.time() + math.floor(os.clock() * 1e6))
  prefix = string.format("%08x%08x", math.random(0, 2147483647), math.random(0, 2147483647))
end
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  local body = string.format(
    '{"event_id":"%s-%d","timestamp":"%s","event_type":"behavioral","event_name":"habit_completed",' ..
    '"properties":{"habit_id":"12","streak":5,"tags":{"provider":"nfc_notifier"},"note":"nnnnnnnnnnnnnnnnnnnnnnnn"},' ..
    '"device_info":{"platform":"ios","model":"iPhone 14"},"user_id":"user-1","session_id":"session-1",' ..
    '"app_version":"1.0.0","sequence_number":%d}', prefix, count, os.date("!%Y-%m-%dT%H:%M:%SZ"), count)
  return wrk.format(nil, "/api/v1/ingest", nil, body)
end
