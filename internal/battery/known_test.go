package battery

// known are the cases that fail today, by the names of their tests, each with its reason.
var known = map[string]string{}
