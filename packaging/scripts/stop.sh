# Before the files go: edge ends as by systemctl stop, and does not start again until the package is back.
touch /var/lib/edge/.removed 2>/dev/null || true
if [ -d /run/systemd/system ]; then
	systemctl disable --now edge.socket edge.service || true
fi
