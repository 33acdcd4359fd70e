-- wrk: sends the requests of the file named after `--`, in turn. They are separated by a zero byte
-- (bench/traffic.py writes it). A second argument is a pause in milliseconds before each request.
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = request
  end
  file:close()
  if args[2] then
    local pause = tonumber(args[2])
    -- wrk looks for a global function of this name once init is over.
    function delay() return pause end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

-- The report of `wrk --latency` ends at 99 %.
function done(summary, latency)
  io.write(string.format("  99.9%%  %.2fus\n", latency:percentile(99.9)))
end
