package attribute

import (
	"iter"
	"slices"
	"strings"
)

// Location is the class of place a file lies in: where data is put that is not meant to stay.
type Location uint8

const (
	NoLocation Location = iota
	Tmp
	Shm
	Volume
	HostPath
	Hidden
	WebRoot
	Run
	Memfd
	NumLocations int = iota
)

func (l Location) String() string {
	return [...]string{"none", "tmp", "shm", "volume", "hostpath", "hidden", "webroot", "run", "memfd"}[l]
}

// OwnPlace reports whether a container's own service may keep files here for itself, which makes reading them back
// ordinary.
func (l Location) OwnPlace() bool { return l == Volume || l == HostPath }

// scratch reports whether nothing is meant to stay here.
func (l Location) scratch() bool { return l != NoLocation && !l.OwnPlace() }

// temporary reports whether only running programs keep files here; what web servers serve stays.
func (l Location) temporary() bool { return l == Tmp || l == Shm || l == Run }

// Paths says which directories belong to which class. Every entry is an absolute path and names what lies below it, or
// that one file.
type Paths struct {
	Tmp, Shm, Run, WebRoot []string
	// Runtime is what programs read to run: libraries, locales, certificates. Reading there is not collecting.
	Runtime []string
	// Sensitive directories of the node: a container that has one mounted reaches what is not its own.
	Sensitive []string
	// Homes are home directories, "/home/*" for every directory in /home. A dot directory right below a home holds a
	// program's settings or cache by convention. Projects are the names of those that tools keep in a project.
	Homes    []string
	Projects []string
}

// locate classifies a path as a container sees it; mount is what it lies in, nil for the container's own file system.
// Hiding says more than the place that something is hidden in.
func (p *Paths) locate(path string, mount *Mount) Location {
	class := p.scratch(path)
	switch {
	case p.hidden(path) && (class != NoLocation || !partial(path)):
		return Hidden
	case class != NoLocation:
		return class
	}
	switch {
	case mount == nil:
		return NoLocation
	case mount.volume():
		return Volume
	default:
		return HostPath
	}
}

// partial reports whether a hidden file has the name of one that is not whole yet: .NAME.XXXXXX, as rsync and mkstemp
// make them, to be renamed to NAME.
func partial(path string) bool {
	dir, name := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]
	suffix := name[strings.LastIndexByte(name, '.')+1:]
	for _, c := range []byte(suffix) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return !strings.Contains(dir, "/.") && len(suffix) == 6 && len(name) > len("..")+len(suffix)
}

// scratch is the class of a path that is told by its directory.
func (p *Paths) scratch(path string) Location {
	switch {
	case under(path, p.Shm):
		return Shm
	case under(path, p.Tmp):
		return Tmp
	case under(path, p.Run):
		return Run
	case under(path, p.WebRoot):
		return WebRoot
	default:
		return NoLocation
	}
}

// mountOf returns the mount that a path lies in, the innermost one; nil when there is none.
func mountOf(path string, mounts []Mount) *Mount {
	var best *Mount
	for i := range mounts {
		if m := &mounts[i]; below(path, m.Destination) && (best == nil || len(m.Destination) > len(best.Destination)) {
			best = m
		}
	}
	return best
}

// hidden reports whether a component of the path is hidden from a plain listing, other than by convention.
func (p *Paths) hidden(path string) bool {
	for dir, name := range dotNames(path) {
		if !slices.Contains(p.Projects, name) && !p.home(dir) {
			return true
		}
	}
	return false
}

// settings reports whether a path lies in a dot directory right below a home.
func (p *Paths) settings(path string) bool {
	for dir, name := range dotNames(path) {
		if p.home(dir) && !slices.Contains(p.Projects, name) {
			return true
		}
	}
	return false
}

// project reports whether a path lies in a directory that tools keep in a project.
func (p *Paths) project(path string) bool {
	for _, name := range dotNames(path) {
		if slices.Contains(p.Projects, name) {
			return true
		}
	}
	return false
}

// dotNames yields the components of a path that are hidden from a plain listing, each with the directory it is in.
func dotNames(path string) iter.Seq2[string, string] {
	return func(yield func(dir, name string) bool) {
		for at := 0; ; at++ {
			i := strings.Index(path[at:], "/.")
			if i < 0 {
				return
			}
			at += i
			name, _, _ := strings.Cut(path[at+1:], "/")
			if name != "." && name != ".." && !yield(path[:at], name) {
				return
			}
		}
	}
}

func (p *Paths) home(dir string) bool {
	for _, home := range p.Homes {
		if parent, any := strings.CutSuffix(home, "*"); dir == home || any && strings.HasPrefix(dir, parent) && !strings.Contains(dir[len(parent):], "/") {
			return true
		}
	}
	return false
}

// runtime reports whether a path is part of what programs need to run.
func (p *Paths) runtime(path string) bool { return under(path, p.Runtime) && !under(path, p.Shm) }

func under(path string, dirs []string) bool {
	for _, dir := range dirs {
		if below(path, dir) {
			return true
		}
	}
	return false
}

// below reports whether path is dir or lies below it.
func below(path, dir string) bool {
	return strings.HasPrefix(path, dir) && (len(path) == len(dir) || dir == "/" || path[len(dir)] == '/')
}

// Mount is one mount of a container.
type Mount struct {
	Source, Destination string
}

// volume reports whether a mount's source is storage that a container runtime or kubelet keeps for containers, rather
// than a path of the host's own.
func (m Mount) volume() bool {
	for _, store := range []string{"/volumes/kubernetes.io~", "/volume-subpaths/", "/docker/volumes/", "/containers/storage/volumes/", "/nerdctl/"} {
		if strings.Contains(m.Source, store) {
			return true
		}
	}
	return !strings.HasPrefix(m.Source, "/") // a named volume
}
