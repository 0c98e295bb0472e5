//! The two sides of the interop suite: processes with Qt's semaphore, and processes with ours, in a directory of their
//! own.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use system_semaphore::{Environment, KeyType, NativeIpcKey, SystemSemaphore};
use test_support::Puppet;

/// A private temporary and runtime directory, in which both sides derive their keys.
pub struct TestDirectory {
    directory: tempfile::TempDir,
    number: u32,
    keys: RefCell<Vec<NativeIpcKey>>,
}

impl TestDirectory {
    /// A new one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new()
            .prefix("system-semaphore-interop-")
            .tempdir()
            .expect("a directory can be made");
        let runtime = directory.path().join("runtime");
        fs::create_dir(&runtime).expect("it is ours");
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Self { directory, number: NUMBER.fetch_add(1, Ordering::Relaxed), keys: RefCell::default() }
    }

    /// A process with Qt's semaphore.
    pub fn qt(&self) -> Puppet {
        Puppet::spawn(self.at_home(&mut self.qt_command()))
    }

    /// A process with Qt's semaphore in another environment: `TMPDIR`, `XDG_RUNTIME_DIR`, working directory.
    pub fn qt_elsewhere(&self, temp_dir: &str, runtime_dir: &str, current_dir: &Path) -> Puppet {
        let mut command = self.qt_command();
        command.env("TMPDIR", temp_dir).env("XDG_RUNTIME_DIR", runtime_dir).current_dir(current_dir);
        // its warnings about directories are expected
        Puppet::spawn(command.stderr(Stdio::null()))
    }

    fn qt_command(&self) -> Command {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = home.join(".venv/bin/python");
        assert!(python.exists(), "{} is missing: run interop/setup first", python.display());
        let mut command = Command::new(python);
        command.arg(home.join("puppet.py"));
        command
    }

    /// A process with ours.
    pub fn ours(&self) -> Puppet {
        let mut command = Puppet::this_program();
        Puppet::spawn(self.at_home(&mut command))
    }

    /// A process with ours that belongs to another user.
    pub fn ours_as_another_user(&self) -> Puppet {
        // the program itself may lie where others cannot go
        let program = self.strangers_program();
        // not by this process: whoever another thread starts meanwhile would have it open for writing, so that it cannot run
        let this = std::env::current_exe().expect("the program knows itself");
        let copied = Command::new("cp").args([&this, &program]).status().expect("there is cp");
        assert!(copied.success(), "{} cannot be copied to {}", this.display(), program.display());
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.directory.path(), open).expect("it is ours");
        let mut command = Puppet::program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        Puppet::spawn(self.at_home(&mut command))
    }

    /// Where the program lies that [`ours_as_another_user`](Self::ours_as_another_user) runs.
    pub fn strangers_program(&self) -> PathBuf {
        self.path("program")
    }

    fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("TMPDIR", self.directory.path()).env("XDG_RUNTIME_DIR", self.path("runtime"))
    }

    /// A path in the private directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A plain name of this directory's own.
    pub fn name(&self, name: &str) -> String {
        format!("interop {} {} {name}", std::process::id(), self.number)
    }

    /// The environment that the processes see.
    pub fn environment(&self) -> Environment<'static> {
        let text = |path: PathBuf| Some(path.to_str().expect("temporary directories are UTF-8").to_owned());
        let mut environment = Environment::current();
        environment.temp_dir = text(self.directory.path().to_owned());
        environment.runtime_dir = text(self.path("runtime"));
        environment
    }

    /// What a plain name means to Qt with this type.
    pub fn legacy_key(&self, name: &str, key_type: KeyType) -> NativeIpcKey {
        self.given(self.environment().legacy_native_key(&self.name(name), key_type))
    }

    /// The native key that Qt recommends for new programs.
    pub fn safe_key(&self, name: &str, key_type: KeyType) -> NativeIpcKey {
        self.given(self.environment().platform_safe_key(&self.name(name), key_type))
    }

    fn given(&self, key: NativeIpcKey) -> NativeIpcKey {
        self.keys.borrow_mut().push(key.clone());
        key
    }

    /// What is left in the temporary and runtime directories.
    pub fn left(&self) -> Vec<PathBuf> {
        let listing = |path: PathBuf| fs::read_dir(path).expect("it is ours").flatten().map(|e| e.path());
        let mut left: Vec<_> = listing(self.directory.path().to_owned()).collect();
        left.retain(|path| *path != self.path("runtime"));
        left.extend(listing(self.path("runtime")));
        left
    }

    /// Removes what Qt leaves behind when it is killed or makes a semaphore that it forgets.
    pub fn clean_up_after_qt(&self, key: &NativeIpcKey) {
        // it may be gone, or only its file left
        let _ = SystemSemaphore::remove(key);
        let _ = fs::remove_file(key.native_key());
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        for key in self.keys.borrow().iter() {
            // after a failure; nothing is there otherwise
            let _ = SystemSemaphore::remove(key);
        }
    }
}

impl Default for TestDirectory {
    fn default() -> Self {
        Self::new()
    }
}
