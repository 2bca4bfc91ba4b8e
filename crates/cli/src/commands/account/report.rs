//! `kuvert account report`: asks for the report, waits for it if told so, and writes its files.

use std::path::Path;
use std::time::Duration;

use kuvert_client::{Error, Report};

use crate::args;
use crate::commands::open;
use crate::error::Failure;
use crate::files::Folder;
use crate::options::Options;
use crate::output::record::Record;

/// Between two questions whether the report is ready, at most: the relay's clock may be moved.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Gets the report.
pub async fn run(args: &args::Report, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    if args.out.symlink_metadata().is_ok() {
        let message = format!("{} exists already: name a new directory", args.out.display());
        return Err(Failure::new("report-exists", message));
    }
    let connection = client.connect().await?;
    let status = connection.request_report().await?;
    connection.close().await;
    let report = loop {
        // A connection for each question: a delay can be days. So long a wait outlasts a restart of the relay.
        let connection = match client.connect().await {
            Err(error) if args.wait && error.passes() => client.connect_patiently(&error).await?,
            connected => connected?,
        };
        let fetched = connection.fetch_report().await;
        connection.close().await;
        match fetched {
            Err(error) if args.wait && error.passes() => tokio::time::sleep(LONGEST_PAUSE).await,
            Err(Error::ReportNotReady { seconds }) if args.wait => {
                options.output.note("The report is not ready yet: waiting. Ctrl-C ends this; the request stays.");
                tokio::time::sleep(Duration::from_secs(seconds.max(1)).min(LONGEST_PAUSE)).await;
            }
            Err(error @ Error::ReportNotReady { .. }) => {
                options.output.print(&Record::ReportRequested { ready_at: status.ready_at })?;
                return Err(error.into());
            }
            other => break other?,
        }
    };
    write(&report, &args.out)?;
    let out = args.out.display().to_string();
    options.output.print(&Record::Report { directory: &out, files: report.files.len(), kept_until: status.kept_until })
}

/// Into a new directory, readable by the owner only, like the home. Without a page of the relay's: the client made this one.
fn write(report: &Report, out: &Path) -> Result<(), Failure> {
    let written = Folder::make(out)
        .and_then(|folder| report.files.iter().try_for_each(|file| folder.write(&file.name, &file.content)));
    written.map_err(|error| Failure::io(&format!("write the report to {}", out.display()), &error))
}
