-- Health of Palisade's objects for Argo CD. It agrees with kstatus:
-- what the controller has not seen yet is Progressing, what will not change by
-- waiting is Degraded, and otherwise Ready decides.

local function condition(status, kind)
  for _, c in ipairs(status.conditions or {}) do
    if c.type == kind then
      return c
    end
  end
  return {status = "Unknown", reason = "Pending", message = "waiting for the controller"}
end

local function text(c)
  if c.message ~= nil and c.message ~= "" then
    return c.reason .. ": " .. c.message
  end
  return c.reason
end

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "being deleted"}
end

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "waiting for the controller to see this generation"}
end

local stalled = condition(status, "Stalled")
if stalled.status == "True" then
  return {status = "Degraded", message = text(stalled)}
end

local ready = condition(status, "Ready")
if ready.status == "True" and condition(status, "Reconciling").status ~= "True" then
  return {status = "Healthy", message = text(ready)}
end
return {status = "Progressing", message = text(ready)}
