//! `keycard doctor`: what keeps programs on this machine from reaching keycard, with a cure for each fault.

use crate::cli::{Failure, Output, ServerChoice, print};
use crate::doctor::{Finding, Surroundings, examine, sandbox};

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Also try the endpoint of this resource from end to end: its id, or its name where that is unique.
    #[arg(long = "as", value_name = "RESOURCE")]
    resource: Option<String>,
    /// Print the AppArmor profile that lets this program make a sandbox, and look at nothing.
    #[arg(long)]
    apparmor: bool,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or lines for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.apparmor {
            let program = std::env::current_exe()?;
            return print(sandbox::apparmor_profile(&program.to_string_lossy()).trim_end());
        }
        let surroundings = Surroundings::of_this_process();
        let server = self.server.description().map_err(|failure| failure.0);
        let findings = examine(&surroundings, server, self.resource.as_deref()).await;
        match self.output {
            Output::Json => print(&serde_json::to_string(&findings)?)?,
            Output::Table => {
                for finding in &findings {
                    print(&line(finding))?;
                }
            }
        }
        let faults = findings.iter().filter(|finding| !finding.ok).count();
        if faults == 0 {
            Ok(())
        } else {
            Err(Failure(format!("{faults} of {} checks failed", findings.len())))
        }
    }
}

fn line(finding: &Finding) -> String {
    let mark = match (finding.ok, &finding.cure) {
        (true, None) => "ok   ",
        (true, Some(_)) => "note ",
        (false, _) => "FAULT",
    };
    let cure = finding.cure.as_ref().map(|cure| format!("\n                cure: {cure}"));
    format!("{mark}  {:<8} {}{}", finding.check, finding.seen, cure.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_with_its_cure() {
        let finding = |ok, cure: Option<&str>| Finding {
            check: "names",
            ok,
            seen: "nothing resolves".to_owned(),
            cure: cure.map(str::to_owned),
        };
        let text = line(&finding(false, Some("add a line")));
        assert!(text.starts_with("FAULT") && text.contains("cure: add a line"), "{text}");
        assert!(line(&finding(true, Some("add a line"))).starts_with("note"));
        assert!(!line(&finding(true, None)).contains("cure"));
    }
}
