//! A separate Postgres, which can be killed and started again on the same data.
//!
//! A shell in its own session holds the directory and the server, obeys a few commands, and removes both when its
//! input ends, however this process ends.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::failure::Failure;

/// `$1` is the directory of the programs, `$2` the port. The server is killed, never asked to stop.
const GUARDIAN: &str = r#"
programs=$1 port=$2 server=
directory=$(mktemp -d "/var/tmp/squidmesh-torture-XXXXXX") || exit 1
as=(env)
if [ "$(id -u)" = 0 ]; then
  user=postgres; id -u postgres >/dev/null 2>&1 || user=nobody
  chown "$user" "$directory"
  as=(setpriv "--reuid=$(id -u $user)" "--regid=$(id -g $user)" --clear-groups)
fi
finish() {
  exec 2>/dev/null
  [ -n "$server" ] && kill -KILL "$server"
  for _ in {1..100}; do rm -rf -- "$directory" && break; sleep 0.05; done
}
trap finish EXIT
cd "$directory"
"${as[@]}" "$programs/initdb" --pgdata="$directory/data" --username=torture --auth=trust --encoding=UTF8 --no-locale \
  --no-sync >"$directory/initdb.log" 2>&1 || { cat "$directory/initdb.log" >&2; exit 1; }
start() {
  # As long as processes of the one that was killed live, another refuses to start.
  for _ in {1..400}; do
    setsid "${as[@]}" "$programs/postgres" -D "$directory/data" -c listen_addresses=127.0.0.1 -c port="$port" \
      -c unix_socket_directories="$directory" -c fsync=on -c synchronous_commit=on -c max_connections=200 \
      >>"$directory/log" 2>&1 </dev/null &
    server=$!
    for _ in {1..3000}; do
      kill -0 "$server" 2>/dev/null || break
      state=$(cat "$directory/data/postmaster.pid" 2>/dev/null)
      if [ "$(sed -n 1p <<<"$state")" = "$server" ] && [[ "$(sed -n 8p <<<"$state")" == ready* ]]; then
        echo "ready $server"
        return
      fi
      sleep 0.01
    done
    wait "$server" 2>/dev/null
    sleep 0.05
  done
  tail -n 20 "$directory/log" >&2
  echo failed
}
while read -r word; do
  case $word in
    start) start ;;
    kill) kill -KILL "$server"; wait "$server" 2>/dev/null; echo killed ;;
  esac
done
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    pub(crate) port: u16,
    /// The process id of the server's first process.
    pub(crate) postmaster: u32,
    _guardian: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl PostgresServer {
    /// Creates a directory and starts a server in it. `SQUIDMESH_TORTURE_POSTGRES` names the directory of the
    /// programs.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let programs = std::env::var("SQUIDMESH_TORTURE_POSTGRES").map_err(
            |_| "SQUIDMESH_TORTURE_POSTGRES does not say where initdb and postgres are: use `cargo xtask torture`",
        )?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        drop(listener);
        let mut guardian = Command::new("setsid")
            .args(["bash", "-c", GUARDIAN, "guardian", &programs, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let words = guardian.stdin.take().ok_or("its input is a pipe")?;
        let answers = BufReader::new(guardian.stdout.take().ok_or("its output is a pipe")?).lines();
        let mut server = PostgresServer { port, postmaster: 0, _guardian: guardian, words, answers };
        server.restart().await?;
        Ok(server)
    }

    /// Kills the server's first process, as the kernel does when memory is short. The others notice and end.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        self.words.write_all(b"kill\n").await?;
        self.answer("killed").await.map(drop)
    }

    /// Starts the server on the existing data, and waits until it answers.
    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        self.words.write_all(b"start\n").await?;
        let said = self.answer("ready").await?;
        self.postmaster = said.trim_start_matches("ready ").parse()?;
        Ok(())
    }

    async fn answer(&mut self, wanted: &str) -> Result<String, Failure> {
        let said = self.answers.next_line().await?.ok_or("the guardian of Postgres is gone")?;
        if said.starts_with(wanted) { Ok(said) } else { Err(format!("Postgres: {said}").into()) }
    }

    /// Returns the URL of a database of the server, over a port.
    pub(crate) fn url(port: u16, database: &str) -> String {
        format!("postgres://torture@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Executes statements, directly and outside of any episode.
    pub(crate) async fn execute(&self, statements: &[String]) -> Result<(), Failure> {
        let connection: DatabaseConnection = Database::connect(PostgresServer::url(self.port, "postgres")).await?;
        for statement in statements {
            connection.execute_unprepared(statement).await?;
        }
        connection.close().await?;
        Ok(())
    }
}
