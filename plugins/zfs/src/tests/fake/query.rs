//! What only tells something.

use std::fmt::Write as _;

use stillframe_sdk::command::Output;

use super::{State, output};
use crate::name;

impl State {
    pub(super) fn get(&self, args: &[&str]) -> Output {
        let at = args.iter().position(|arg| *arg == "-o").unwrap();
        let (options, fields, properties) = (&args[..at], args[at + 1], args[at + 2]);
        let is_local = options.windows(2).any(|pair| pair == ["-s", "local"]);
        let (objects, errors) = self.objects(options, &args[at + 3..]);
        let mut stdout = String::new();
        for object in objects {
            for (property, value, source) in self.properties(&object, properties) {
                if is_local && source != "local" {
                    continue;
                }
                let column = |field: &str| match field {
                    "name" => object.clone(),
                    "property" => property.clone(),
                    "value" => value.clone(),
                    "source" => source.clone(),
                    other => panic!("{other}"),
                };
                writeln!(stdout, "{}", fields.split(',').map(column).collect::<Vec<_>>().join("\t")).unwrap();
            }
        }
        output(i32::from(!errors.is_empty()), &stdout, &errors)
    }

    pub(super) fn list(&self, args: &[&str]) -> Output {
        let at = args.iter().position(|arg| *arg == "-o").unwrap();
        let (objects, errors) = self.objects(&args[..at], &args[at + 2..]);
        let mut stdout = String::new();
        for object in objects {
            let columns: Vec<String> = args[at + 1].split(',').map(|column| self.native(&object, column)).collect();
            writeln!(stdout, "{}", columns.join("\t")).unwrap();
        }
        output(i32::from(!errors.is_empty()), &stdout, &errors)
    }

    pub(super) fn print_holds(&self, snapshots: &[&str]) -> Output {
        let (mut stdout, mut errors) = (String::new(), String::new());
        for snapshot in snapshots {
            match self.snapshots.get(*snapshot) {
                None => writeln!(errors, "cannot open '{snapshot}': dataset does not exist").unwrap(),
                Some(facts) => {
                    for tag in &facts.holds {
                        writeln!(stdout, "{snapshot}\t{tag}\tSat Nov 21  0:00 2026").unwrap();
                    }
                }
            }
        }
        let status = i32::from(!errors.is_empty());
        if errors.lines().count() == snapshots.len() {
            errors.push_str("no datasets available\n");
        }
        output(status, &stdout, &errors)
    }

    pub(super) fn print_rights(&self, dataset: &str) -> Output {
        let mut stdout = String::new();
        for (root, rights) in self.rights.iter().flatten().filter(|(root, _)| name::is_under(dataset, root)) {
            let title = format!("---- Permissions on {root} ");
            let rights = rights.iter().cloned().collect::<Vec<_>>().join(",");
            writeln!(stdout, "{title:-<70}\nLocal+Descendent permissions:\n\tuser postgres {rights}").unwrap();
        }
        output(0, &stdout, "")
    }

    /// The things that a command is about, by name, and the errors about the others.
    fn objects(&self, options: &[&str], names: &[&str]) -> (Vec<String>, String) {
        let wants = |kinds: &str| options.windows(2).any(|pair| pair == ["-t", kinds]);
        let (wants_snapshots, wants_all) = (wants("snapshot"), wants("filesystem,snapshot,volume"));
        let (mut objects, mut errors) = (Vec::new(), String::new());
        for asked in names {
            let is_there = self.datasets.contains_key(*asked) || self.snapshots.contains_key(*asked);
            if !is_there {
                writeln!(errors, "cannot open '{asked}': dataset does not exist").unwrap();
            } else if options.contains(&"-r") {
                let is_below = |object: &&String| name::is_under(name::dataset(object), asked);
                let snapshots = self.snapshots.keys().filter(|_| wants_snapshots || wants_all);
                let datasets = self.datasets.keys().filter(|_| !wants_snapshots);
                objects.extend(snapshots.chain(datasets).filter(is_below).cloned());
            } else {
                assert_eq!(asked.contains('@'), wants_snapshots);
                objects.push((*asked).to_owned());
            }
        }
        objects.sort_unstable();
        objects.dedup();
        (objects, errors)
    }

    /// Name, value and source. A snapshot inherits from its dataset, and a dataset from its parents.
    fn properties(&self, object: &str, wanted: &str) -> Vec<(String, String, String)> {
        if wanted == "all" {
            let snapshot = &self.snapshots[object];
            let mut all: Vec<(String, String, String)> =
                ["guid", "createtxg"].map(|native| (native.to_owned(), self.native(object, native), "-".to_owned())).to_vec();
            let of = |(name, value): (&String, &String), source: &str| (name.clone(), value.clone(), source.to_owned());
            all.extend(snapshot.local.iter().map(|property| of(property, "local")));
            all.extend(snapshot.received.iter().map(|property| of(property, "received")));
            return all;
        }
        wanted.split(',').map(|property| self.property(object, property)).collect()
    }

    fn property(&self, object: &str, property: &str) -> (String, String, String) {
        let found = |value: &String, source: &str| (property.to_owned(), value.clone(), source.to_owned());
        if !property.contains(':') {
            return found(&self.native(object, property), "-");
        }
        if let Some(snapshot) = self.snapshots.get(object) {
            if let Some(value) = snapshot.local.get(property) {
                return found(value, "local");
            }
            if let Some(value) = snapshot.received.get(property) {
                return found(value, "received");
            }
        }
        let mut dataset = Some(name::dataset(object));
        while let Some(name) = dataset {
            if let Some(value) = self.datasets[name].local.get(property) {
                return found(value, &if name == object { "local".to_owned() } else { format!("inherited from {name}") });
            }
            dataset = name.rsplit_once('/').map(|(parent, _)| parent);
        }
        found(&"-".to_owned(), "-")
    }

    fn native(&self, object: &str, column: &str) -> String {
        let yes_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
        match (self.snapshots.get(object), self.datasets.get(object), column) {
            (_, _, "name") => object.to_owned(),
            (Some(snapshot), _, "guid") => snapshot.guid.to_string(),
            (Some(snapshot), _, "createtxg") => snapshot.txg.to_string(),
            (Some(snapshot), _, "creation") => snapshot.creation_secs.to_string(),
            (Some(_), _, "used") => "8192".to_owned(),
            (Some(_), _, "referenced") => "1048576".to_owned(),
            (Some(_), _, "clones") => {
                Some(self.clones_of(object).join(",")).filter(|names| !names.is_empty()).unwrap_or("-".to_owned())
            }
            (Some(_), _, "origin" | "mounted") => "-".to_owned(),
            (_, Some(dataset), "guid") => dataset.guid.to_string(),
            (_, Some(dataset), "mountpoint") => dataset.local.get("mountpoint").cloned().unwrap_or_else(|| format!("/{object}")),
            (_, Some(dataset), "sync") => dataset.local.get("sync").cloned().unwrap_or_else(|| "standard".to_owned()),
            (_, Some(_), "recordsize") => "131072".to_owned(),
            (_, Some(dataset), "keystatus") => if dataset.is_locked_away { "unavailable" } else { "-" }.to_owned(),
            (_, Some(dataset), "origin") => dataset.origin.clone().unwrap_or_else(|| "-".to_owned()),
            (_, Some(dataset), "mounted") => yes_no(dataset.is_mounted),
            (_, _, other) => panic!("the fake does not know the column {other} of {object}"),
        }
    }
}
