-- For wrk: sends one path with the cookies of a file in turn, one visitor a line.
--   wrk ... -s load.lua URL -- PATH FILE
local requests, at = {}, 0

function init(arguments)
  for cookie in io.lines(arguments[2]) do
    requests[#requests + 1] = wrk.format("GET", arguments[1], cookie ~= "" and { Cookie = cookie } or {})
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
