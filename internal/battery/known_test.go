package battery

// known are the cases that fail today, as "group/name", each with its reason.
var known = map[string]string{}
