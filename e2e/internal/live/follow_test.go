package live

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const quick = time.Millisecond

// appendTo writes as Falco does: at the end of the file, which it makes where there is none.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func follow(t *testing.T, text string) (path string, r running) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "alerts.json")
	appendTo(t, path, text)
	return path, start(t, Follow{Path: path, Interval: quick})
}

// looks waits until a follower has looked at its file several times.
func looks() { time.Sleep(20 * quick) }

func TestAFileIsFollowedAsItGrows(t *testing.T) {
	path, r := follow(t, staged+"\n")
	assert.Equal(t, "Staged", r.rule())
	appendTo(t, path, egress+"\n"+staged[:40])
	assert.Equal(t, "Egress", r.rule())
	looks() // the line is not over yet
	appendTo(t, path, staged[40:]+"\n")
	assert.Equal(t, "Staged", r.rule())
	appendTo(t, path, "x\n")
	require.ErrorContains(t, r.next().Bad, path+":4: ")
	r.stop()
	require.NoError(t, r.end())
}

func TestAFileThatIsTruncatedIsReadFromItsBeginning(t *testing.T) {
	path, r := follow(t, staged+"\n"+staged+"\n")
	assert.Equal(t, "Staged", r.rule())
	assert.Equal(t, "Staged", r.rule())
	looks()
	require.NoError(t, os.Truncate(path, 0))
	assert.Equal(t, path+" was truncated after line 2", r.next().Note)
	appendTo(t, path, egress+"\nx\n")
	assert.Equal(t, "Egress", r.rule())
	require.ErrorContains(t, r.next().Bad, path+":2: ", "lines are counted anew")
}

func TestAFileThatIsRotatedIsReadToItsEndFirst(t *testing.T) {
	path, r := follow(t, staged+"\n")
	assert.Equal(t, "Staged", r.rule())

	// As logrotate does it with create: Falco writes to the old file until it is told to open the new one.
	old, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".1"))
	looks()
	appendTo(t, path, "")
	looks()
	_, err = old.WriteString(egress + "\n" + egress) // its last line is cut
	require.NoError(t, err)
	require.NoError(t, old.Close())
	appendTo(t, path, staged+"\n")

	assert.Equal(t, "Egress", r.rule())
	assert.Equal(t, "Egress", r.rule())
	assert.Equal(t, path+" was rotated after line 3", r.next().Note)
	assert.Equal(t, "Staged", r.rule())
	appendTo(t, path, egress+"\n")
	assert.Equal(t, "Egress", r.rule())
}

func TestALinkIsFollowedToItsNewTarget(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	appendTo(t, filepath.Join(dir, "0.log"), staged+"\n")
	require.NoError(t, os.Symlink("0.log", link))
	r := start(t, Follow{Path: link, Interval: quick})
	assert.Equal(t, "Staged", r.rule())

	appendTo(t, filepath.Join(dir, "1.log"), egress+"\n")
	require.NoError(t, os.Symlink("1.log", link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	assert.Contains(t, r.next().Note, "was rotated")
	assert.Equal(t, "Egress", r.rule())
}

func TestWhatCannotBeFollowedIsAnError(t *testing.T) {
	dir := t.TempDir()
	require.ErrorIs(t, start(t, Follow{Path: filepath.Join(dir, "no")}).end(), fs.ErrNotExist)
	require.EqualError(t, start(t, Follow{Path: dir}).end(), "follow "+dir+": it is no regular file: read it without --follow")
}
