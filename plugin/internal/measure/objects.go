package measure

// maxObjects bounds the objects that are told apart. Of more than that the count goes on, but one that comes back may count
// again.
const maxObjects = 4096

// own is in the place of the time at which an object was read: the identity wrote it, and reading it tells it nothing new.
const own = 0

// WroteObject notes that an identity wrote an object through the orchestrator, as who deploys does with what it reads before.
func (a *Account) WroteObject(name string) {
	if last := a.objects[name]; last != own {
		a.counter(Sources).Remove(last)
	}
	a.keepObject(name, own)
}

func (a *Account) keepObject(name string, ts uint64) {
	if a.objects == nil || len(a.objects) >= maxObjects {
		a.objects = map[string]uint64{}
	}
	a.objects[name] = ts
}

// ReadObject counts an object that an identity read through the orchestrator among the distinct sources.
func (a *Account) ReadObject(name string, ts uint64) {
	last, ok := a.objects[name]
	switch {
	case ok && last == own:
		return
	case !ok:
		a.counter(Sources).Add(ts, 1)
	case ts > last:
		a.counter(Sources).Move(last, ts)
	default:
		return
	}
	a.keepObject(name, ts)
}
