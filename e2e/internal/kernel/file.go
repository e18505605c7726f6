package kernel

import (
	"fmt"
	"hash/fnv"
)

// inode is a file of the machine.
type inode struct {
	ino     uint64
	dev     uint32
	made    bool // by a process, while it was watched
	content stream
}

// OpenFlags are those of an open, as the header numbers them (PPM_O_*).
type OpenFlags uint32

// Flags of an open. ForReading and ForWriting together are read and write.
const (
	ForReading OpenFlags = 1 << 0
	ForWriting OpenFlags = 1 << 1
	Create     OpenFlags = 1 << 2
	Append     OpenFlags = 1 << 3
	Exclusive  OpenFlags = 1 << 5
	Truncate   OpenFlags = 1 << 8
	Directory  OpenFlags = 1 << 10
	Nameless   OpenFlags = 1 << 13 // O_TMPFILE
)

// inode finds a file by a path of a container, and makes it where nobody asked for it before: then it was there already.
func (k *Kernel) inode(c *Container, path string) *inode {
	where, shared := locate(c, path)
	f := k.files[where]
	if f == nil {
		f = k.newInode(c, where, shared)
		k.files[where] = f
	}
	return f
}

func (k *Kernel) newInode(c *Container, where string, shared bool) *inode {
	k.nextIno++
	f := &inode{ino: k.nextIno, dev: hostDev}
	if !shared {
		f.dev = anonymous(0x40 + uint32(c.number)) // an overlay of its own
	}
	h := fnv.New64a()
	h.Write([]byte(where))
	f.content.content.source = h.Sum64()
	return f
}

// anonymous is the device of a file system without a block device, as new_encode_dev() in include/linux/kdev_t.h writes it.
func anonymous(minor uint32) uint32 { return minor&0xff | minor&^0xff<<12 }

// Open opens a file and gives it a descriptor, which the script may call by a name of its own. errno is that of an open that
// fails, else 0.
func (k *Kernel) Open(t *Thread, path, handle string, flags OpenFlags, errno int64) error {
	if err := absolute(path); err != nil {
		return err
	}
	c := t.process.container
	where, shared := locate(c, path)
	f := k.files[where]
	shown := uint32(flags) // nothing is close-on-exec: programs that are started inherit it
	switch {
	case errno != 0:
		k.opened(t, -errno, path, shown, &inode{})
		return nil
	case flags&Nameless != 0:
		f = k.newInode(c, where, shared)
		f.made = true
		shown |= uint32(Directory)
	case f == nil:
		f = k.newInode(c, where, shared)
		k.files[where] = f
		if flags&Create != 0 {
			f.made = true
			shown |= oCreated
		}
	case flags&(Create|Exclusive) == Create|Exclusive:
		return fmt.Errorf("%s is there, and excl wants a new file: write `fails EEXIST`, or leave excl out", path)
	}
	if flags&Truncate != 0 {
		f.content = stream{content: Content{source: f.content.content.source}}
	}
	if !shared {
		if f.made {
			shown |= oUpperLayer
		} else {
			shown |= oLowerLayer
		}
	}
	d := &descriptor{kind: fileDescriptor, name: path, flags: flags, shown: shown, file: f}
	fd := t.process.table.add(d, handle)
	k.opened(t, int64(fd), path, shown, f)
	return nil
}

func (k *Kernel) opened(t *Thread, fd int64, path string, flags uint32, f *inode) {
	e := k.event(typeOpenAt)
	e.i64(fd)
	e.i64(atCWD)
	e.text(path)
	e.u32(flags)
	e.u32(0o644)
	e.u32(f.dev)
	e.u64(f.ino)
	k.emit(t)
}

// Unlink removes a name; who has the file open keeps it.
func (k *Kernel) Unlink(t *Thread, path string) error {
	if err := absolute(path); err != nil {
		return err
	}
	where, _ := locate(t.process.container, path)
	delete(k.files, where)
	e := k.event(typeUnlinkAt)
	e.i64(0)
	e.i64(atCWD)
	e.text(path)
	e.u32(0)
	k.emit(t)
	return nil
}

// Rename gives a file another name.
func (k *Kernel) Rename(t *Thread, from, to string) error {
	for _, p := range []string{from, to} {
		if err := absolute(p); err != nil {
			return err
		}
	}
	c := t.process.container
	f := k.inode(c, from)
	old, _ := locate(c, from)
	delete(k.files, old)
	where, _ := locate(c, to)
	k.files[where] = f
	e := k.event(typeRename)
	e.i64(0)
	e.text(from)
	e.text(to)
	k.emit(t)
	return nil
}

// Memfd makes a file in memory.
func (k *Kernel) Memfd(t *Thread, name, handle string) {
	f := k.newInode(t.process.container, "memfd:"+name, true)
	f.made = true
	d := &descriptor{kind: memfdDescriptor, name: name, flags: ForReading | ForWriting, file: f}
	fd := t.process.table.add(d, handle)
	e := k.event(typeMemfdCreate)
	e.i64(int64(fd))
	e.text(name)
	e.u32(0)
	k.emit(t)
}

// Seek sets where the next read or write of a file begins.
func (k *Kernel) Seek(t *Thread, ref string, offset uint64) error {
	fd, d, err := t.process.table.find(ref, forAny)
	if err != nil {
		return err
	}
	if d.file == nil {
		return fmt.Errorf("%s is no file: it has no offset to seek", ref)
	}
	d.off = offset
	e := k.event(typeLseek)
	e.u64(offset)
	e.i64(int64(fd))
	e.u64(offset)
	e.zero8() // from the start
	k.emit(t)
	return nil
}

// Mmap maps a file into memory, to write or only to read. What then moves is not seen.
func (k *Kernel) Mmap(t *Thread, ref string, size uint64, toWrite bool) error {
	fd, _, err := t.process.table.find(ref, forAny)
	if err != nil {
		return err
	}
	protection, flags := uint32(protRead), uint32(mapPrivate)
	if toWrite {
		protection, flags = protRead|protWrite, mapShared
	}
	e := k.event(typeMmap)
	e.i64(0x7f0000000000)
	for range 3 {
		e.u32(0)
	}
	e.u64(0)
	e.u64(size)
	e.u32(protection)
	e.u32(flags)
	e.i64(int64(fd))
	e.u64(0)
	k.emit(t)
	return nil
}

// IOUring makes a ring, or with an errno fails to. What goes through it is not seen.
func (k *Kernel) IOUring(t *Thread, handle string, entries uint32, errno int64) {
	res := -errno
	if errno == 0 {
		res = int64(t.process.table.add(&descriptor{kind: ringDescriptor, name: "io_uring"}, handle))
	}
	e := k.event(typeIOUringSetup)
	e.i64(res)
	e.u32(entries)
	e.u32(entries)
	e.u32(2 * entries)
	for range 4 {
		e.u32(0) // flags, cpu and idle time of a thread, features
	}
	k.emit(t)
}

// IOUringEnter hands a ring its work.
func (k *Kernel) IOUringEnter(t *Thread, ref string, submit uint32) error {
	fd, _, err := t.process.table.find(ref, forAny)
	if err != nil {
		return err
	}
	e := k.event(typeIOUringEnter)
	e.i64(int64(submit))
	e.i64(int64(fd))
	e.u32(submit)
	e.u32(0)
	e.u32(0)
	e.u32(0)
	k.emit(t)
	return nil
}
