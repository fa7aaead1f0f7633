"""Mail programs from the peers folder that log in: each function runs one to its end, in the clear unless
it has a CA. A refusal raises Refused with all that the program said."""

import contextlib
import os
import pty
import shutil
import subprocess
import termios
import threading

from . import peers, wait
from .environment import pki


class Refused(Exception):
    """The program did not do it."""


def _run(*argv, **options):
    # Some refuse a file of another user, and we read what they have written.
    done = peers.run(*argv, uid=os.geteuid(), **options)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != 0:
        raise Refused(said)
    return said


@contextlib.contextmanager
def _folder(**files):
    """Makes a folder for the program with these files: the paths outside and inside."""
    with peers.scratch() as (outside, inside):
        shutil.copy(pki().ca, outside / "ca.pem")
        for name, text in files.items():
            path = outside / name
            path.write_bytes(text if isinstance(text, bytes) else
                             text.replace("FOLDER", str(inside)).encode())
            path.chmod(0o600)
        yield outside, inside


def _lines(data):
    """Returns a message as a mailbox on disk keeps it."""
    return data.replace(b"\r\n", b"\n")


def _maildir(folder):
    """Returns the messages of a Maildir."""
    found = [path for name in ("new", "cur") if (folder / name).is_dir()
             for path in sorted((folder / name).iterdir())]
    return [path.read_bytes() for path in found]


def _make_maildir(folder):
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    return folder


def swaks(port, user=None, password=None, mechanism="PLAIN", body="by swaks", more=()):
    login = [] if user is None else ["--auth", mechanism, "--auth-user", user,
                                     "--auth-password", password]
    return _run("/usr/bin/swaks", "--server", f"127.0.0.1:{port}", *login, "--helo", "client.test",
                "--from", "a@client.test", "--to", "box@mail.test", "--body", body, *more)


def swaks_send(port, message):
    """Sends a message as it is, without a login. swaks ends the last line itself."""
    with _folder(mail=message.removesuffix(b"\r\n")) as (_, inside):
        return _run("/usr/bin/swaks", "--server", f"127.0.0.1:{port}", "--helo", "client.test",
                    "--from", "a@client.test", "--to", "box@mail.test", "--data", f"@{inside}/mail")


def curl_send(port, user, password, message, mechanism="PLAIN"):
    with _folder(mail=message) as (_, inside):
        return _run("/usr/bin/curl", "--silent", "--show-error", "--user", f"{user}:{password}",
                    "--login-options", f"AUTH={mechanism}", "--mail-from", "a@client.test",
                    "--mail-rcpt", "box@mail.test", "--upload-file", inside / "mail",
                    "--url", f"smtp://127.0.0.1:{port}/client.test")


def curl_fetch(protocol, port, user, password, mechanism=None):
    """Returns the first message of the mailbox, by "imap" or "pop3"."""
    options = ["--login-options", f"AUTH={mechanism}"] if mechanism else []
    path = "INBOX;MAILINDEX=1" if protocol == "imap" else "1"
    done = peers.run("/usr/bin/curl", "--silent", "--show-error", "--user", f"{user}:{password}",
                     *options, f"{protocol}://127.0.0.1:{port}/{path}")
    if done.returncode != 0:
        raise Refused(done.stderr.decode())
    return done.stdout


def msmtp(port, user, password, message, mechanism="plain"):
    settings = (f"host 127.0.0.1\nport {port}\ntls off\nauth {mechanism}\nuser {user}\n"
                f"password {password}\nfrom a@client.test\ndomain client.test\n")
    with _folder(msmtprc=f"account default\n{settings}") as (_, inside):
        return _run("/usr/bin/msmtp", "-C", inside / "msmtprc", "box@mail.test", input=_lines(message))


def mpop(port, user, password, mechanism="user"):
    """Returns all messages of the mailbox."""
    settings = (f"host 127.0.0.1\nport {port}\ntls off\nauth {mechanism}\nuser {user}\n"
                f"password {password}\nkeep on\nreceived_header off\ndelivery maildir FOLDER/box\n"
                "uidls_file FOLDER/uidls\n")
    with _folder(mpoprc=f"account default\n{settings}") as (outside, inside):
        box = _make_maildir(outside / "box")
        _run("/usr/bin/mpop", "-C", inside / "mpoprc")
        return _maildir(box)


def fetchmail(protocol, port, user, password):
    """Returns the messages of the mailbox as one text, by "imap" or "pop3"."""
    settings = (f'poll 127.0.0.1 service {port} protocol {protocol} auth password\n'
                f'  user "{user}" password "{password}" is root here keep\n'
                '  sslproto "" no rewrite mda "/bin/cat >> FOLDER/box"\n')
    with _folder(fetchmailrc=settings) as (outside, inside):
        _run("/usr/bin/env", f"HOME={inside}", f"FETCHMAILHOME={inside}", "/usr/bin/fetchmail",
             "--fetchmailrc", inside / "fetchmailrc", "--nodetach", "--fetchall", "--invisible",
             "--pidfile", inside / "pid", "--nosyslog", "--nobounce")
        return (outside / "box").read_bytes()


def mbsync(port, user, password, mechanism="LOGIN"):
    """Returns all messages of the mailbox."""
    settings = (f"IMAPAccount proxy\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass \"{password}\"\n"
                f"SSLType None\nAuthMechs {mechanism}\n\n"
                "IMAPStore far\nAccount proxy\n\n"
                "MaildirStore near\nPath FOLDER/\nInbox FOLDER/box\n\n"
                "Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\n"
                "SyncState FOLDER/state-\n")
    with _folder(mbsyncrc=settings) as (outside, inside):
        _run("/usr/bin/env", f"HOME={inside}", "/usr/bin/mbsync", "-c", inside / "mbsyncrc", "all")
        return _maildir(outside / "box")


def mutt_send(port, user, password, message, mechanism="plain"):
    settings = (f'set smtp_url="smtp://{user}@127.0.0.1:{port}/"\nset smtp_pass="{password}"\n'
                f'set smtp_authenticators="{mechanism}"\nset ssl_starttls=no ssl_force_tls=no\n'
                'set from=a@client.test realname="" copy=no use_domain=no tmpdir=FOLDER\n')
    with _folder(muttrc=settings) as (_, inside):
        return _run("/usr/bin/env", f"HOME={inside}", "/usr/bin/mutt", "-n", "-F", inside / "muttrc",
                    "-s", "by mutt", "box@mail.test", input=message)


def mutt_fetch(port, user, password, mechanism="login"):
    """Returns the first message of the mailbox, as mutt copies it. It needs a terminal."""
    settings = (f'set imap_user={user} imap_pass="{password}" imap_authenticators="{mechanism}"\n'
                'set ssl_starttls=no ssl_force_tls=no move=no quit=yes confirmcreate=no confirmappend=no\n'
                f'set folder="" mbox_type=mbox timeout=1 tmpdir=FOLDER\nset spoolfile="imap://127.0.0.1:{port}/INBOX"\n'
                'push "<first-entry><copy-message>FOLDER/box<enter><exit>"\n')
    with _folder(muttrc=settings) as (outside, inside):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(ours, (24, 80))  # newer ones of ncurses need a size
        with subprocess.Popen(peers.command("/usr/bin/mutt", "-n", "-F", inside / "muttrc", uid=os.geteuid(),
                                            environment=(f"HOME={inside}", "TERM=vt100")),
                              stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
            os.close(theirs)
            said = b""
            killer = threading.Timer(wait.DEADLINE, process.kill)
            killer.start()
            with contextlib.suppress(OSError):
                while piece := os.read(ours, 65536):
                    said += piece
                    if b"failed" in said and process.poll() is None:
                        process.terminate()
            process.wait()
            killer.cancel()
            os.close(ours)
        if not (outside / "box").exists():
            raise Refused(said.decode(errors="replace"))
        return (outside / "box").read_bytes()


def sieve_connect(port, user, password, script, mechanism="PLAIN"):
    """Stores a script by the name of "by-program", after STARTTLS if it is offered."""
    with _folder(script=script, password=password + "\n") as (_, inside):
        return _run("/bin/sh", "-c",
                    f"exec /usr/bin/sieve-connect --server mail.test --nosrv --port {port} --user {user} "
                    f"--passwordfd 3 --authmech {mechanism} --clearchan --tlscafile {inside}/ca.pem --upload "
                    f"--localsieve {inside}/script --remotesieve by-program 3<{inside}/password")
