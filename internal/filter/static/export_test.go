package static

// OccupyLists has as many lists being made as may be, until the returned function is called.
func OccupyLists() (leave func()) {
	occupy := func(n int) {
		lists.Lock()
		defer lists.Unlock()
		lists.making += n
	}
	occupy(listsMax)
	return func() { occupy(-listsMax) }
}

// MadeLists returns how many lists were made within the last second.
func MadeLists() int {
	lists.Lock()
	defer lists.Unlock()
	return len(lists.of)
}
