package location

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// nodeFile is what a node learned in one window.
func nodeFile(t testing.TB, node string) *baseline.File {
	t.Helper()
	cfg := baseline.DefaultConfig()
	cfg.Node = node
	s, _, err := baseline.Open(cfg, "")
	require.NoError(t, err)
	s.Observe(&baseline.Window{Workload: "shop/web/web", Instance: "1", Start: uint64(time.Hour)})
	f, err := s.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	return f
}

// memory opens buckets that lie in memory, anew each time.
type memory struct{ opened []string }

func (m *memory) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	m.opened = append(m.opened, u.String())
	return memblob.OpenBucket(nil), nil
}

func inMemory() *Files { return filesOf(&memory{}) }

func filesOf(m *memory) *Files {
	mux := new(blob.URLMux)
	mux.RegisterBucket("mem", m)
	return New(mux)
}

// s3 is the URL of a bucket of an S3 server on this machine.
func s3(t *testing.T) (bucket func(key string) string) {
	t.Helper()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("fleet"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	return func(key string) string {
		return "s3://fleet/" + key + "?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
	}
}

func TestWhatIsWrittenIsReadAndFound(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "nodes", "east"), 0o755))
	onS3 := s3(t)
	for _, tc := range []struct {
		name  string
		files *Files
		at    func(key string) string
	}{
		{"on local disk", inMemory(), func(key string) string { return filepath.FromSlash(dir + "/" + key) }},
		{"on local disk by URL", inMemory(), func(key string) string { return "file://" + dir + "/" + key }},
		{"in memory", inMemory(), func(key string) string { return "mem://fleet/" + key }},
		{"on S3", New(blob.DefaultURLMux()), onS3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := t.Context()
			for _, key := range []string{"nodes/a.baseline", "nodes/b 100%.baseline", "nodes/east/c.baseline", "fleet.baseline"} {
				at := tc.at(key)
				if strings.Contains(at, "://") {
					at = strings.Replace(at, "b 100%", "b%20100%25", 1)
				}
				want := nodeFile(t, key)
				require.NoError(t, tc.files.Write(ctx, at, want))
				got, numBytes, err := tc.files.Read(ctx, at)
				require.NoError(t, err)
				assert.Equal(t, want.Encode(), got.Encode())
				assert.Equal(t, len(want.Encode()), numBytes)
			}
			for _, find := range []struct {
				name    string
				pattern string
				want    []string
			}{
				{"one file", tc.at("nodes/a.baseline"), []string{"nodes/a.baseline"}},
				{"all below a folder", tc.at("nodes/"), []string{"nodes/a.baseline", "nodes/b 100%.baseline", "nodes/east/c.baseline"}},
				{"a glob of one level", tc.at("nodes/*.baseline"), []string{"nodes/a.baseline", "nodes/b 100%.baseline"}},
				{"a glob of all levels", tc.at("**/[a-c].baseline"), []string{"nodes/a.baseline", "nodes/east/c.baseline"}},
				{"a glob of alternatives", tc.at("nodes/{a,east/c}.baseline"), []string{"nodes/a.baseline", "nodes/east/c.baseline"}},
				{"everything but what is excepted", tc.at(""), []string{"nodes/a.baseline", "nodes/b 100%.baseline", "nodes/east/c.baseline"}},
			} {
				t.Run(find.name, func(t *testing.T) {
					found, err := tc.files.Expand(ctx, []string{find.pattern, find.pattern}, tc.at("fleet.baseline"))
					require.NoError(t, err)
					var nodes []string
					for _, l := range found {
						f, _, err := tc.files.Read(ctx, l)
						require.NoError(t, err, l)
						nodes = append(nodes, f.Nodes()[0].ID)
					}
					assert.Equal(t, find.want, nodes)
				})
			}
			t.Run("what is excepted but named alone is meant", func(t *testing.T) {
				found, err := tc.files.Expand(ctx, []string{tc.at("fleet.baseline")}, tc.at("fleet.baseline"))
				require.NoError(t, err)
				assert.Len(t, found, 1)
			})
			t.Run("a glob that nothing matches is an error", func(t *testing.T) {
				_, err := tc.files.Expand(ctx, []string{tc.at("nodes/*.json")}, "")
				assert.ErrorContains(t, err, "nodes/*.json")
				assert.ErrorContains(t, err, "there is none")
			})
			t.Run("a glob that is none is an error", func(t *testing.T) {
				_, err := tc.files.Expand(ctx, []string{tc.at("nodes/[a")}, "")
				assert.ErrorContains(t, err, "syntax error in pattern")
			})
			t.Run("a file that is missing is an error", func(t *testing.T) {
				_, _, err := tc.files.Read(ctx, tc.at("nodes"+"/z.baseline"))
				assert.ErrorContains(t, err, "read baseline "+tc.at("nodes/z.baseline")+": ")
				assert.ErrorContains(t, err, "no such")
			})
			require.NoError(t, tc.files.Close())
		})
	}
}

// TestGCSAndAzureAreRead has a server that answers what either storage answers to a read, for neither has one to test with.
func TestGCSAndAzureAreRead(t *testing.T) {
	want := nodeFile(t, "a")
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		for key, value := range map[string]string{
			"ETag": `"0x1"`, "Last-Modified": "Mon, 23 Nov 2026 17:00:00 GMT", "x-ms-blob-type": "BlockBlob", "x-goog-generation": "1",
		} {
			w.Header().Set(key, value)
		}
		w.Write(want.Encode())
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("STORAGE_EMULATOR_HOST", host)
	t.Setenv("AZURE_STORAGE_ACCOUNT", "account")
	t.Setenv("AZURE_STORAGE_KEY", "a2V5")
	files := New(blob.DefaultURLMux())
	t.Cleanup(func() { files.Close() })
	for _, l := range []string{"gs://fleet/nodes/a?anonymous=true", "azblob://fleet/nodes/a?protocol=http&localemu=true&domain=" + host} {
		got, _, err := files.Read(t.Context(), l)
		require.NoError(t, err, l)
		assert.Equal(t, want.Encode(), got.Encode())
	}
	assert.Equal(t, []string{"GET /fleet/nodes/a", "GET /account/fleet/nodes/a"}, asked)
}

func TestWhatLiesBesideABaselineIsNotMeant(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "a.prev", "a.tmp", "a.damaged-1", ".hidden", ".work/b", "more/b"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Symlink("more/b", filepath.Join(dir, "link")))
	files := inMemory()
	found, err := files.Expand(t.Context(), []string{dir}, "")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/a", dir + "/link", dir + "/more/b"}, found)
	found, err = files.Expand(t.Context(), []string{dir + "/*"}, "")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/a", dir + "/link"}, found)
	found, err = files.Expand(t.Context(), []string{dir + "/a.prev"}, "")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/a.prev"}, found, "named alone it is")
}

func TestAFileWhoseNameLooksLikeAGlobIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "node[1]")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	found, err := inMemory().Expand(t.Context(), []string{name}, "")
	require.NoError(t, err)
	assert.Equal(t, []string{name}, found)
}

func TestTheGenerationBeforeIsKeptOnLocalDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	files := inMemory()
	require.NoError(t, files.Write(t.Context(), path, nodeFile(t, "a")))
	require.NoError(t, files.Write(t.Context(), "file://"+path, nodeFile(t, "b")))
	prev, _, err := files.Read(t.Context(), path+".prev")
	require.NoError(t, err)
	assert.Equal(t, "a", prev.Nodes()[0].ID)
}

func TestLocationsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	content := nodeFile(t, "a").Encode()
	content[len(content)-1] ^= 1
	require.NoError(t, os.WriteFile(damaged, content, 0o600))
	for _, tc := range []struct{ name, location, read, write string }{
		{"an unknown storage", "http://bucket/key",
			"no storage is called http; want a path, or a URL that begins with file://, azblob://, gs://, ", "no storage is called http"},
		{"no bucket", "s3:///key", "want s3://bucket/key", "want s3://bucket/key"},
		{"a file URL with a host", "file://dir/file", "want file:///path, with three slashes", "with three slashes"},
		{"a bucket alone", "s3://bucket", "want the name of an object", "want the name of a file"},
		{"a prefix", "gs://bucket/dir/", "want the name of an object", "want the name of a file"},
		{"a URL with a lone percent sign", "s3://bucket/100%", "a % is written %25 in a URL", "%25"},
		{"an option that the storage does not know", "s3://bucket/key?colour=blue", "colour", "colour"},
		{"a folder", dir, "is a directory", ""},
		{"a damaged file", damaged, "its checksum is wrong", ""},
		{"no such folder", dir + "/no/file", "no such file or directory", "no such file or directory"},
		{"nothing", "", "no such file or directory", "want the name of a file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := New(blob.DefaultURLMux())
			defer files.Close()
			_, _, err := files.Read(t.Context(), tc.location)
			assert.ErrorContains(t, err, "read baseline "+tc.location+": ")
			assert.ErrorContains(t, err, tc.read)
			if tc.write != "" {
				err = files.Write(t.Context(), tc.location, nodeFile(t, "a"))
				assert.ErrorContains(t, err, "save baseline "+tc.location+": ")
				assert.ErrorContains(t, err, tc.write)
			}
		})
	}
}

func TestAnObjectThatIsNotThereTellsHowToNameAllBelowIt(t *testing.T) {
	files := inMemory()
	require.NoError(t, files.Write(t.Context(), "mem://fleet/nodes/a", nodeFile(t, "a")))
	_, _, err := files.Read(t.Context(), "mem://fleet/nodes")
	assert.EqualError(t, err, "read baseline mem://fleet/nodes: there is no such object; for all below it write mem://fleet/nodes/")
}

func TestABucketIsOpenedOnceForEachSetOfOptions(t *testing.T) {
	var m memory
	files := filesOf(&m)
	for _, l := range []string{"mem://a/x", "mem://a/y/z", "mem://b/x", "mem://a/x?region=r", "mem://a/%2Fy?region=r"} {
		require.NoError(t, files.Write(t.Context(), l, nodeFile(t, "a")))
	}
	assert.Equal(t, []string{"mem://a", "mem://b", "mem://a?region=r"}, m.opened)
	found, err := files.Expand(t.Context(), []string{"mem://a/", "mem://a/**?region=r"}, "mem://a/y/z?region=other")
	require.NoError(t, err)
	assert.Equal(t, []string{"mem://a//y?region=r", "mem://a/x", "mem://a/x?region=r"}, found)
	for _, l := range found {
		_, _, err := files.Read(t.Context(), l)
		assert.NoError(t, err, "what was found is read")
	}
}

func TestObjectsThatStandForFoldersAreNotMeant(t *testing.T) {
	files := inMemory()
	require.NoError(t, files.Write(t.Context(), "mem://fleet/nodes/a", nodeFile(t, "a")))
	p, err := files.parse("mem://fleet/")
	require.NoError(t, err)
	bucket, err := files.bucket(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, bucket.WriteAll(t.Context(), "nodes/", nil, nil))
	found, err := files.Expand(t.Context(), []string{"mem://fleet/"}, "")
	require.NoError(t, err)
	assert.Equal(t, []string{"mem://fleet/nodes/a"}, found)
}

func TestAnInterruptedWriteLeavesTheObjectAsItWas(t *testing.T) {
	at := s3(t)("x")
	files := New(blob.DefaultURLMux())
	defer files.Close()
	before := nodeFile(t, "a")
	require.NoError(t, files.Write(t.Context(), at, before))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, files.Write(ctx, at, nodeFile(t, "b")), context.Canceled)
	got, _, err := files.Read(t.Context(), at)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before.Encode(), got.Encode()))
}
