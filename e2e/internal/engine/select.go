package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
)

// Kinds of engines to choose from.
const (
	Auto       = "auto" // Falco where one is found, else sysdig
	KindFalco  = "falco"
	KindSysdig = "sysdig"
)

// Options is which engine to use and where it comes from.
type Options struct {
	Kind string // Auto, KindFalco or KindSysdig

	FalcoBin        string // path of a Falco; empty: falco on the PATH
	FalcoImage      string // container image of a Falco, instead of a program
	ContainerPlugin string // see FalcoOptions

	K8SAudit    string // path of Falco's k8saudit plugin, to read audit logs with; empty: the one in Falco's plugin folder
	AuditSource string // path of a plugin to read them with where there is none; empty: no audit logs

	Witness string // path of libwitness.so, which sysdig needs

	CacheDir string          // folder that sysdig is downloaded to; empty: there is none
	Mirror   string          // Debian archive that it comes from; empty: the one that the machine uses
	Progress debian.Progress // of the download

	Log io.Writer // what an engine says that is no alert
}

// The Debian package of the sysdig engine. Debian's stable releases have an older one or none.
const (
	sysdigPackage = "sysdig"
	sysdigSuite   = "testing"
)

// Open gives the engine of these options, downloading it if need be.
func Open(ctx context.Context, opts Options) (Engine, error) {
	if opts.Kind != KindSysdig {
		path, err := FindFalco(opts)
		if err != nil {
			return nil, err
		}
		if path != "" || opts.FalcoImage != "" {
			return NewFalco(ctx, FalcoOptions{
				Path:            path,
				Image:           opts.FalcoImage,
				ContainerPlugin: opts.ContainerPlugin,
				AuditPlugin:     findAuditPlugin(opts, pluginFolders(path)),
				Log:             opts.Log,
			})
		}
		if opts.Kind == KindFalco {
			return nil, errors.New("find Falco: there is none on the PATH; name one with FALCO_BIN, or use --engine sysdig")
		}
	}
	if opts.CacheDir == "" {
		return nil, errors.New("download sysdig: there is no cache folder; set XDG_CACHE_HOME or HOME")
	}
	tree, err := debian.Fetch(ctx, debian.Options{
		Package:  sysdigPackage,
		Suite:    sysdigSuite,
		Dir:      opts.CacheDir,
		Mirror:   opts.Mirror,
		Progress: opts.Progress,
	})
	if err != nil {
		if opts.Kind == Auto {
			return nil, fmt.Errorf("no engine: no Falco on the PATH or named by FALCO_BIN, and no sysdig: %w", err)
		}
		return nil, err
	}
	return NewSysdig(ctx, tree, SysdigOptions{
		AuditPlugin: findAuditPlugin(opts, pluginFolders("")), Witness: opts.Witness, Log: opts.Log,
	})
}

// FindFalco gives the path of the Falco program; empty where there is none and none was asked for by name.
func FindFalco(opts Options) (string, error) {
	if opts.FalcoImage != "" {
		return "", nil
	}
	if opts.FalcoBin != "" {
		path, err := exec.LookPath(opts.FalcoBin)
		if err != nil {
			return "", fmt.Errorf("find the Falco that FALCO_BIN names: %w", err)
		}
		return path, nil
	}
	path, err := exec.LookPath("falco")
	if errors.Is(err, exec.ErrNotFound) {
		return "", nil
	}
	return path, err
}
