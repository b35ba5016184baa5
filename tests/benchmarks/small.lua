-- Posts of 60 rows of one vehicle with 20 signals, for wrk. Each post has later times; threads have vehicles of their
-- own. Variables: BENCH_KIND (ndjson or line), BENCH_PATH, BENCH_KEY, BENCH_VEHICLES (of each thread), BENCH_SINCE (s).
local rows, threads, posts = 60, 0, 0
local kind, path, key = os.getenv("BENCH_KIND"), os.getenv("BENCH_PATH"), os.getenv("BENCH_KEY")
local vehicles, since = tonumber(os.getenv("BENCH_VEHICLES")), tonumber(os.getenv("BENCH_SINCE"))
local floats = {"speed_kmh", "odometer_km", "latitude_deg", "longitude_deg", "altitude_m", "heading_deg",
  "battery_soc_pct", "battery_voltage_v", "battery_current_a", "battery_power_kw", "battery_temperature_c",
  "energy_charged_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "motor_power_kw", "auxiliary_power_kw",
  "ambient_temperature_c"}
local templates = {}

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(_)
  for n = 1, rows do
    local parts = {}
    for k, name in ipairs(floats) do
      local form = kind == "line" and "%s=%.3f" or '"%s":%.3f'
      parts[k] = string.format(form, name, math.random() * 60)
    end
    local values = table.concat(parts, ",")
    if kind == "line" then
      templates[n] = "telemetry,vehicle=%s " .. values .. ",ignition_on=true,charging=false,plugged_in=false %d000000000"
    else
      templates[n] = '{"vehicle":"%s","time":%d,' .. values .. ',"ignition_on":true,"charging":false,"plugged_in":false}'
    end
  end
end

function request()
  local vehicle = "truck-" .. (number * vehicles + posts % vehicles)
  local first = since + math.floor(posts / vehicles) * rows
  posts = posts + 1
  local lines = {}
  for n = 1, rows do lines[n] = string.format(templates[n], vehicle, first + n - 1) end
  local headers = {["Content-Type"] = "application/x-ndjson", ["Authorization"] = "Bearer " .. key}
  return wrk.format("POST", path, headers, table.concat(lines, "\n"))
end

function done(summary, latency, _)
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.timeout + summary.errors.connect + summary.errors.read,
    latency:percentile(50), latency:percentile(99)))
end
